"""Print every price change, once. Started again, it goes on where it stopped."""

import json
import sys
import time
from pathlib import Path

import grpc

from llmpricing.v1 import pricing_pb2, pricing_pb2_grpc

address, cursor = sys.argv[1], Path(sys.argv[2])
prices = pricing_pb2_grpc.PricingServiceStub(grpc.insecure_channel(address))
while True:
    saved = json.loads(cursor.read_text()) if cursor.exists() else {"after_revision": 0}
    changes = []
    try:
        for message in prices.StreamPriceChanges(pricing_pb2.StreamPriceChangesRequest(**saved)):
            changes += message.changes
            if message.last_fragment:  # All of a revision is here: use it, then save where.
                for change in changes:
                    print(change.revision, change.provider, change.model_id, change.new_input)
                saved = {"after_revision": message.revision, "epoch": message.epoch}
                cursor.write_text(json.dumps(saved))
                changes = []
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
            raise  # Such as EPOCH_CHANGED: begin again with a snapshot.
        time.sleep(1)
