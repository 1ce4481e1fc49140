"""Exported models: encoder, enhancer, gate and decoder as ONNX and OpenVINO graphs, and the way back to `Predictor`."""
