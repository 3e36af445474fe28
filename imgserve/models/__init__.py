"""Models as they are served: compiled, loaded and asked. Only here is OpenVINO imported."""
