"""Networks and tables saved as safetensors; what is made once is kept."""
