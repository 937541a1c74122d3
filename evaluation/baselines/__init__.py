"""The methods to compare with: popularity, item-kNN, EASE, ALS, BPR and SASRec, tuned on the same split."""
