"""The attribute-inference attacks: one column of a table guessed from the others, the label and the model."""
