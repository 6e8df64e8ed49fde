"""Make a case that fails smaller."""


def smaller(case, fails):
    """Return a case as small as can be that still fails."""
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate in simpler(case):
            if fails(candidate):
                case, shrunk = candidate, True
                break
    return case


def simpler(case):
    """Yield cases that are a little simpler."""
    for name in ("messages", "headers", "subprotocols"):
        for number in range(len(case[name])):
            yield dict(case, **{name: case[name][:number] + case[name][number + 1:]})
    for part in ("scope", "wire"):
        for name in case[part]:
            yield dict(case, **{part: {key: value for key, value in case[part].items() if key != name}})
    for number, (name, value) in enumerate(case["headers"]):
        for part in halves(value):
            yield dict(case, headers=case["headers"][:number] + [(name, part)] + case["headers"][number + 1:])
    for number, message in enumerate(case["messages"]):
        for part in halves(message):
            yield dict(case, messages=case["messages"][:number] + [part] + case["messages"][number + 1:])
    for part in halves(case["target"]):
        yield dict(case, target=part)


def halves(value):
    """Yield parts of a value."""
    if len(value) > 1:
        middle = len(value) // 2
        yield value[:middle]
        yield value[middle:]
        yield value[:-1]
        yield value[1:]
