"""The methods of the product in an evaluation: its lists, made by `ranking`, its retrieval, and a teacher."""

# First: usearch, which the catalogue brings, loads its kernels for the whole process to see, and onnxruntime crashes
# when it is loaded after them.
import onnxruntime  # noqa: F401
