"""Fetches pages as it finds links, and says what became of each. Usage: crawl.py URL ..."""
import re, sys, urllib.error, urllib.request

found = sys.argv[1:]
for url in found:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = answer.read().decode()
        print(f"{url}: {len(text)} bytes", flush=True)
        found += [link for link in re.findall('href="([^"]+)"', text) if link not in found]
    except urllib.error.HTTPError as error:
        print(f"{url}: {error.code}", flush=True)
    except urllib.error.URLError as error:
        print(f"{url}: {error.reason}", flush=True)
