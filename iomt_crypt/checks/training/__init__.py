"""How the classifier is made: images, ways to encrypt them well and badly, training, evaluation, pictures of it."""
