"""Write readings.csv: readings of four weather stations every 18 hours over a year, gaps and spikes included, the same each time."""

import csv
import datetime
import math
import random
import sys

STATIONS = [
    ("Bergen, Fløen", 60.4, 7.8, 9.0),
    ("Zürich \"Fluntern\"", 47.4, 9.6, 10.5),
    ("Ushuaia", -54.8, 5.7, 6.0),
    ("Nairobi", -1.3, 18.8, 2.0),
]


def main() -> None:
    rng = random.Random(20260101)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["time", "station", "latitude", "temperature_c", "humidity_pct", "quality"])
    start = datetime.datetime(2025, 1, 1)
    for hour in range(0, 365 * 24, 18):
        time = start + datetime.timedelta(hours=hour)
        for name, latitude, mean, swing in STATIONS:
            season = math.cos((time.timetuple().tm_yday - 200) / 365 * 2 * math.pi) * swing
            daily = math.cos((time.hour - 14) / 24 * 2 * math.pi) * 3.5
            temperature = mean + (season if latitude > 0 else -season) + daily + rng.gauss(0, 1.6)
            humidity = max(5.0, min(100.0, 70 - daily * 4 + rng.gauss(0, 8)))
            draw = rng.random()
            if draw < 0.020:  # the sensor said nothing
                out.writerow([time.isoformat(), name, latitude, "", f"{humidity:.1f}", "missing"])
            elif draw < 0.030:  # the sensor said nonsense
                out.writerow([time.isoformat(), name, latitude, f"{temperature + 60:.2f}", f"{humidity:.1f}", "suspect"])
            else:
                out.writerow([time.isoformat(), name, latitude, f"{temperature:.2f}", f"{humidity:.1f}", "ok"])


main()
