"""Sum up readings.csv by station and month: /output/summary.json for programs, a table on stdout for people."""

import csv
import json
import os
import statistics
from collections import defaultdict

here = os.path.dirname(os.path.abspath(__file__))
readings: dict[tuple[str, str], list[float]] = defaultdict(list)
skipped = rows = 0

with open(os.path.join(here, "readings.csv"), encoding="utf-8", newline="") as source:
    for row in csv.DictReader(source):
        rows += 1
        if row["quality"] != "ok":
            skipped += 1
            continue
        readings[row["station"], row["time"][:7]].append(float(row["temperature_c"]))

months = [
    {
        "station": station,
        "month": month,
        "readings": len(values),
        "mean": round(statistics.fmean(values), 3),
        "min": min(values),
        "max": max(values),
    }
    for (station, month), values in sorted(readings.items())
]
with open("/output/summary.json", "w", encoding="utf-8") as target:
    json.dump({"rows": rows, "skipped": skipped, "months": months}, target, ensure_ascii=False, indent=1)

warmest = max(months, key=lambda month: month["mean"])
print(f"{rows} readings, {skipped} skipped, {len(months)} station months")
print(f"warmest: {warmest['station']} in {warmest['month']}, {warmest['mean']:.1f} °C on average")
