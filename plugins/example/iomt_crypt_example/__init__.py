"""One of everything that can be plugged into iomt-crypt, each as small as it can be and still be right."""
