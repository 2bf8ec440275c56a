"""A live feed over server-sent events, with nothing but Python: what there is, then what changes, one line each.

DYNAKV_TOKEN=... python live_feed.py TABLE http://127.0.0.1:6661 http://127.0.0.1:6662
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from itertools import cycle


def events(url, table, cursor):
    """Of one connection: name, data and cursor of each, until the connection ends."""
    request = urllib.request.Request(f"{url}/{table}/subscribe?initial=true")
    request.add_header("Authorization", f"Bearer {os.environ['DYNAKV_TOKEN']}")
    if cursor:
        request.add_header("Last-Event-ID", cursor)
    with urllib.request.urlopen(request, timeout=60) as answer:  # a comment comes every 15 s
        name = data = ""
        for line in answer:
            field, _, text = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = text
            elif field == "id":
                cursor = text
            elif field == "data":
                data = text
            elif not field and data:
                yield name or "change", json.loads(data), cursor
                name = data = ""


def main(table, *urls):
    cursor = ""
    for url in cycle(urls):
        try:
            for name, data, at in events(url, table, cursor):
                cursor = at
                if name == "synced":
                    print("that is all there is", flush=True)
                elif name == "change":
                    what = data["Updated"]["value"] if "Updated" in data else data["Deleted"]
                    print(data["key"], what, flush=True)
                else:  # reset or lagged: something was missed, so begin anew
                    cursor = ""
                    break
        except urllib.error.HTTPError as error:
            if error.code < 500:
                sys.exit(f"{url}: {error.read().decode()}")
        except OSError:
            pass  # the node is gone: go on at the next one, from where this one was left
        time.sleep(0.2)


main(*sys.argv[1:])
