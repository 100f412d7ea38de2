#!/usr/bin/env python3
"""A job in Python that tells how far it is, with redis-py alone.

usage: publish.py REDIS_URL TASK
"""
import json
import sys
import time

import redis

url, task = sys.argv[1:]
db = redis.Redis.from_url(url)


def publish(kind, **payload):
    db.fcall("progress_publish", 1, f"progress:{task}", kind, json.dumps(payload))


began = time.monotonic()
db.fcall("progress_reset", 1, f"progress:{task}")
for step in range(20):
    time.sleep(0.1)  # the work
    db.fcall("progress_alive", 1, f"progress:{task}", 20)  # lost, if silent for 20 seconds
    publish("progress_update", percentage=5 * step, stage="working")
publish("complete", resultUrl=f"/results/{task}", duration=time.monotonic() - began)
