import pytest

from jaxsnn_mia import config, planning


@pytest.mark.parametrize(
    ("shadows", "group_size", "members", "world", "groups", "size"),
    [
        (64, 64, 1, 1, 1, 64),
        (64, 64, 5, 1, 8, 8),  # six groups would do, but the last would be another program
        (256, 64, 1, 3, 4, 64),
        (8, 4, 1, 1, 2, 4),
        (8, 64, 1, 3, 4, 2),  # at least a group for each process
        (62, 16, 1, 1, 4, 16),  # 31 pairs: the last group is shorter
        (6, 2, 9, 1, 3, 2),
    ],
)
def test_groups_are_whole_pairs_of_one_size_where_that_is_near(shadows, group_size, members, world, groups, size):
    c = config.from_dict({"splits": {"n_shadows": shadows}, "ensemble": {"group_size": group_size}})
    plan = planning.group_plan(c, world, members)
    assert (plan["groups"], plan["group_size"]) == (groups, size)
    assert (groups - 1) * size < shadows <= groups * size
