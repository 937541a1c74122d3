"""The network: item tower, user encoder, ranking mixture and ranker, and the teacher of distillation."""
