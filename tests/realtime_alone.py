"""The engine of one entity alone, as tests compare a fleet with it."""

from dataclasses import replace


def alone_of(fitted, entity, config):
    """What an engine for one entity would have to be fitted with to judge as the fleet does."""
    model, rows = fitted.judging(entity, config)
    found = replace(model.copy(), held_out=model.held_out[rows], own={}, states={}, models={},
                    _least={})
    for member, state in zip(found.ensemble.members_, model.states.get(entity, ()), strict=False):
        if state is not None:
            member.set_state(state)
    return found
