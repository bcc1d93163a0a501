"""Attribute-inference attacks: one column of a table is guessed from the others, the label and the model.

`columns` has the candidate values and the guess without a model, `scores` the attacks, `advantage` the statistics.
"""

from jaxsnn_mia.attacks.attribute.scores import ATTRIBUTE_ATTACKS, AttributeAttack, guess

__all__ = ["ATTRIBUTE_ATTACKS", "AttributeAttack", "guess"]
