"""Why a stage is stale, in words that name parameters and files."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.differences import differences
from cdm_kedro.provenance.dvcfile import is_code


def reasons(stage: Any) -> list[str]:
    """Why one of DVC's stages is stale, in words; nothing where it is fresh."""
    entries: list[Any] = next(iter(stage.status().values()), [])
    if not entries:
        return []
    found: list[str] = []
    recorded = {d.def_path: d.hash_info.value or {} for d in stage.params}
    current = {d.def_path: d.read_params() for d in stage.params}
    code = {str(d): d for d in stage.deps if is_code(d.def_path)}
    made = any(o.hash_info for o in stage.outs)
    for entry in entries:
        if not isinstance(entry, dict):
            found.append("command changed" if entry == "changed command" else str(entry))
            continue
        for kind, items in entry.items():
            for item, state in items.items():
                if isinstance(state, dict) and item in current:
                    if recorded[item]:
                        changed = differences(recorded[item], current[item])
                        found += [f"params {key} {old} → {new}" for key, old, new in changed]
                elif kind == "changed outs":
                    found.append(f"output {state}: {item}" if made or state != "deleted" else "not made yet")
                elif made and item in code:
                    found += _code_changes(code[item])
                elif made:
                    found.append(f"{state}: {item}")
    return _folded(list(dict.fromkeys(found))) or ["never run"]


def _code_changes(dependency: Any) -> list[str]:
    """What changed in the code of a stage: "modified: " and the path of a source file, for each."""
    try:
        recorded = dependency.repo.cache.local.oid_to_path(dependency.hash_info.value)
        old, new = (set(Path(path).read_text(encoding="utf-8").splitlines()) for path in (recorded, dependency.fs_path))
    except (OSError, TypeError):
        return ["code changed"]
    return [f"modified: src/{path}" for path in sorted({line.split("  ")[1] for line in old ^ new})]


def _folded(reasons: list[str]) -> list[str]:
    """Files in the same state as one reason: "modified: a, b and 3 more"."""
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        state, separator, item = reason.partition(": ")
        groups.setdefault(state if separator else reason, []).append(item)
    return [
        state + (": " + ", ".join(items[:3]) if items[0] else "") + (f" and {len(items) - 3} more" if items[3:] else "")
        for state, items in groups.items()
    ]
