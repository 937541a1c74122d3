"""Public data sets from the packages that ship them."""
