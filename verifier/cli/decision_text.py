"""Write a decision as text for support staff."""

import json
from collections.abc import Mapping
from typing import cast

from verifier.api.decision_answers import DecisionJson
from verifier.core.encoding.printable import printable


def decision_text(decision: Mapping[str, object]) -> str:
    """Return one line with the verdict, then one indented line for each thing that is known."""
    record = cast("DecisionJson", decision)
    plan = record["plan"]
    known = {
        "vmId": record["vmId"],
        "subscriptionId": record["subscriptionId"],
        "plan": f"{plan['publisher']}/{plan['product']}/{plan['name']}".strip("/"),
        "sku": record["sku"],
        "licenseType": record["licenseType"],
        "cloud": record["cloud"],
        "tenant": record["tenant"],
        "key": record["key"],
        "policies": ", ".join(record["policies"]),
        "failed check": record["failedCheck"],
        "detail": record["detail"],
        **_denial(record),
        "request": f"{record['requestId']} {record['route']}".rstrip(),
        "client request": record["clientRequestId"],
    }
    first = f"{record['time']} {record['verdict']}: {record['code']}"
    return (
        "\n".join([printable(first), *(f"  {name}: {printable(str(value))}" for name, value in known.items() if value)])
        + "\n"
    )


def _denial(record: DecisionJson) -> dict[str, str]:
    denial = record["denial"]
    if denial is None:
        return {}
    more = denial["allowedCount"] - len(denial["allowed"])
    allowed = ", ".join(map(json.dumps, denial["allowed"])) + (f", and {more:,} more" if more > 0 else "")
    found = "the document does not carry it" if denial["found"] is None else json.dumps(denial["found"])
    return {"rule": f"{denial['rule']} (policy {denial['policy']!r})", "found": found, "allowed": allowed}
