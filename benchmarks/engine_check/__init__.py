"""TensorRT engines on a real GPU: right, fast, and whole after every fault.

    python -m wholebody.benchmarks.engine_check prepare FOLDER STUDENT.onnx … [--pictures FOLDER] [--speed]
    python -m wholebody.benchmarks.engine_check run FOLDER [--output FILE | --into FILE]

`prepare` runs anywhere: it copies the students, quantizes them, makes small networks, and saves inputs with
the answers and the people of ONNX Runtime. `run` is for the GPU and needs TensorRT, pycuda and NumPy only,
OpenCV for whole pipelines, and PyTorch to be held against. Each of its steps is a process of its own, so that
a crash in one ends no other; the smallest network comes first. It exits with 1 where a step failed, and
prints which and why. `--into` adds the report to that of `gpu_check`. What is missing is said, and left out.
"""
