"""The methods of the product in an evaluation: its lists, made by `ranking`, its retrieval, and a teacher."""

# onnxruntime must be imported first. usearch, which the catalogue imports, loads its kernels with global symbols, and
# onnxruntime crashes if it is loaded after them.
import onnxruntime  # noqa: F401
