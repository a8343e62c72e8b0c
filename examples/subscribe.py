"""Print every price change. Started again, it goes on where it saved.

A change is printed twice if the process is killed between printing and saving: whoever must
count it once saves where it is in the same transaction as what it does.
"""

import sys
import time
from pathlib import Path

import grpc
from google.protobuf import json_format

from llmpricing.v1 import pricing_pb2, pricing_pb2_grpc

address, cursor, new = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[2] + ".new")
prices = pricing_pb2_grpc.PricingServiceStub(grpc.insecure_channel(address))
while True:
    after = pricing_pb2.TableRevision()  # Revision 0 is the very beginning.
    if cursor.exists():
        json_format.Parse(cursor.read_text(), after)
    changes: list[pricing_pb2.PriceChange] = []
    try:
        for message in prices.StreamPriceChanges(
            pricing_pb2.StreamPriceChangesRequest(after=after)
        ):
            changes += message.changes
            if message.last_fragment:  # All of a revision is here: use it, then save where.
                for change in changes:
                    print(change.revision, change.provider, change.model_id, change.new_input)
                new.write_text(json_format.MessageToJson(message.table))
                new.replace(cursor)  # At once, whenever this process is killed.
                changes = []
    except grpc.RpcError as error:
        if error.code().name not in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"):
            raise  # Such as EPOCH_CHANGED: begin again with a snapshot.
        time.sleep(1)
