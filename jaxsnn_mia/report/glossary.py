"""The words of the page, and one sentence on each attack."""

from collections.abc import Iterable

WORDS = {
    "member": "An example that a model was trained on.",
    "target": "The model that is attacked. By default every model of the run is a target once.",
    "shadow or reference model": "Another model of the same kind, trained on other examples, that tells the attack "
    "what to expect of an example inside (IN) and outside (OUT) of a training set.",
    "AUC": "The chance that a member has a higher score than a non-member. .5 is guessing. .6 is a leak that averages "
    "show. .9 is a model that remembers most of its examples.",
    "TPR at 1 % FPR": "The share of members that are found where one of a hundred non-members is wrongly accused. 1 % "
    "is guessing. Ten times that is a lot: it tells single people.",
    "interval": "Where the value would lie, in so many of a hundred repetitions with other examples and other models.",
    "gap": "Training accuracy less test accuracy.",
    "exposed": "Of an example: models that saw it are told from those that did not.",
    "paired": "A difference between variants with the same examples and splits, so that what they share cancels.",
    "PPV": "The share of those accused that are members, at a given share of members among all.",
}
ATTACKS = {
    "loss": "The loss of the target on the example, and nothing else.",
    "confidence": "The largest confidence of the target.",
    "entropy": "How undecided the target is.",
    "modified_entropy": "How undecided the target is, and whether it is right.",
    "gap": "Whether the target is right.",
    "gradient_norm": "How much the example would move the target (white box).",
    "label_noise": "How often the target stays right under noise.",
    "boundary": "How far the example is from another label.",
    "attack_p": "Whether the loss is smaller than that of examples nobody trained on.",
    "quantile": "The same, for examples that look alike.",
    "lira": "How much likelier the confidence is under models that saw the example than under others, learnt from all "
    "examples together.",
    "lira_offline": "As lira, without a model that saw the example.",
    "lira_shrinkage": "LiRA with each example's own mean, and variances that are pulled to a common one.",
    "lira_shrinkage_offline": "The same, without a model that saw the example.",
    "lira_pooled": "LiRA with one variance for all examples.",
    "lira_per_example": "LiRA with each example's own variance.",
    "lira_fixed": "LiRA with one variance about one mean, as released.",
    "lira_median": "LiRA with medians.",
    "bavaria": "Bayesian LiRA with Student's laws.",
    "bavaria_n": "Bayesian LiRA with normal laws.",
    "bavaria_offline": "Bayesian LiRA, without a model that saw the example.",
    "lira_multivariate": "LiRA on several queries of an example together.",
    "rmia": "Whether the confidence has grown more than that of a population, compared with other models.",
    "rmia_online": "The same, with models that saw the example.",
    "rmia_gamma1": "RMIA that counts every growth.",
    "rmia_online_gamma1": "The same, with models that saw the example.",
    "rmia_t2": "RMIA on softened confidences.",
    "rmia_online_t2": "The same, with models that saw the example.",
    "rmia_tuned": "RMIA whose parameter is chosen on other models.",
    "attack_r": "Whether the loss is smaller than under models that did not see the example.",
    "watson": "The loss less its mean under models that did not see the example.",
    "sablayrolles": "The loss less a threshold of the example's own.",
    "label_only_transfer": "How long the label lasts under changes that other models taught; labels alone are asked.",
    "shokri": "A classifier of answers, learnt on other models.",
    "shokri_mlp": "The same, a small neural network.",
    "shokri_predecessor": "The same, one for each class, as an earlier study had it.",
    "trajectory": "A classifier of losses along training.",
    "gradient_lira": "LiRA on the size of the gradient (white box).",
    "rates": "A classifier of the activity of hidden neurons (white box).",
    "steps": "LiRA on what the network says after each time step.",
    "longer": "The same, with more steps than in training.",
    "dropout": "LiRA on answers to inputs of which a part is left out.",
    "repeats": "LiRA on the mean and the spread of repeated answers.",
    "combine": "All other attacks of the run together, weighted on other models.",
}


def lines(attacks: Iterable[str]) -> list[dict[str, str]]:
    """A row for each word, and for each of the attacks that is known."""
    told = [{"word": word, "meaning": meaning} for word, meaning in WORDS.items()]
    return told + [{"word": name, "meaning": ATTACKS[name]} for name in attacks if name in ATTACKS]
