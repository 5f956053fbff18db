"""Read the weights of models that TensorFlow wrote, without TensorFlow."""
