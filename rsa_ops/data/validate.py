"""INTERIM STUB: overwrite."""
from __future__ import annotations
import json
from importlib.metadata import distribution
from pathlib import Path
from rsa_ops.core.digest import digest_bytes, digest_value
from rsa_ops.core.validation import SplitInfo, Validation
from rsa_ops.files import write_record
def data_key(config, task, base):
    return [config.model_dump_json().encode()]
def require_valid(v):
    return None
def read_split(folder, name):
    import pandas as pd
    return pd.read_parquet(folder / f"{name}.parquet")
def validate(config, task, out, progress, base=None):
    import pandas as pd
    rows = json.loads(Path(distribution("genai-incidents").locate_file("genai_incidents/data/incidents.min.json")).read_text())["incidents"]
    rows = [r for r in rows if "nvd.nist.gov" in (r.get("primary_reference") or "")]
    if task == "classification":
        df = pd.DataFrame({"text": [r["title"] + ". " + r["description"] for r in rows], "label": [r["attack_vector"] for r in rows], "slice_severity": [str(r["severity"]) for r in rows]})
        df = df[df.label != "other"]; vc = df.label.value_counts(); df = df[df.label.isin(vc[vc >= 50].index)]
    else:
        rows = [r for r in rows if not r["description"].endswith("…") and r.get("affected")]
        df = pd.DataFrame({"text": [f"affected: {r['affected']} | severity: {r['severity']} | attack vector: {r['attack_vector']}" for r in rows], "label": [r["description"] for r in rows], "slice_severity": [str(r["severity"]) for r in rows]})
    df = df.drop_duplicates("text").sample(frac=1, random_state=0).reset_index(drop=True)
    df["example_id"] = [digest_bytes(t.encode())[7:23] for t in df.text]
    s = config.sample; parts = {"train": df[: s.train], "validation": df[2000 if task == "classification" else 400 :][: s.validation], "test": df[3000 if task == "classification" else 500 :][: s.test]}
    infos = []
    for n, p in parts.items():
        p.to_parquet(out / f"{n}.parquet"); infos.append(SplitInfo(name=n, rows=len(p), digest=digest_value(p.text.tolist())))
    (out / "data_docs").mkdir(); (out / "data_docs" / "index.html").write_text("stub")
    v = Validation(task=task, source=config.source, rows_read=len(df), rows_used=sum(i.rows for i in infos), sampling=f"{s.train} of {len(df)}", fingerprint=infos[0].digest, splits=tuple(infos), labels=tuple(sorted(df.label.unique())) if task == "classification" else (), slices=("severity",), findings=(), checks_run=0)
    write_record(out / "validation.json", v)
    return v
