"""Reads one JSON object {target: ..., creds: ..., rules: {...}, check: ...} a line; prints the verdict
of oslo.policy for each: true, false, or null where it raises an exception."""

import json
import logging
import sys

from oslo_policy import _parser
from oslo_policy import shell

logging.disable(logging.CRITICAL)


class Enforcer:
    def __init__(self, rules):
        self.rules = {name: _parser.parse_rule(text) for name, text in rules.items()}


for line in sys.stdin:
    case = json.loads(line)
    target = shell.flatten(case['target'])
    target.update({'target.' + name: value for name, value in target.items()})
    try:
        check = _parser.parse_rule(case['check'])
        verdict = bool(check(target, case['creds'], Enforcer(case['rules'])))
    except Exception:
        verdict = None
    print(json.dumps(verdict))
