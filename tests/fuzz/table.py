"""The table of targets: every parser of outside bytes, by the name it is called by.

A reader alone is tried as often as a run asks for. What makes, signs or sends more than it reads is tried
less often, in proportion to what it costs: messages put together from fields, the whole gateway.
"""

from functools import partial

from tests.fuzz.targets import callbacks, edge, operator, replies, sandbox, streams, transcripts, upay
from tests.fuzz.trial import Target

TARGETS: dict[str, Target] = {
    # tills
    "upay-authorization": Target(upay.authorization),
    "upay-bodies": Target(upay.bodies),
    "upay-fields": Target(upay.fields, cost=10),
    "upay-paths": Target(upay.paths),
    "body-streams": Target(streams.bodies, cost=4),
    # wallets' replies
    "alipay-replies": Target(partial(replies.mutants_of, "alipay")),
    "alipay-reply-fields": Target(replies.alipay_made, cost=10),
    "wechat-replies": Target(partial(replies.mutants_of, "wechat")),
    "wechat-reply-fields": Target(replies.wechat_made, cost=10),
    # wallets' callbacks
    "alipay-callbacks": Target(partial(callbacks.mutants_of, "alipay")),
    "alipay-callback-fields": Target(callbacks.alipay_made, cost=10),
    "wechat-callbacks": Target(partial(callbacks.mutants_of, "wechat")),
    "wechat-callback-fields": Target(callbacks.wechat_made, cost=10),
    # what is kept of them
    "transcripts": Target(transcripts.transcripts, cost=10),
    # the whole gateway
    "edge-calls": Target(edge.calls, cost=50),
    "edge-callbacks": Target(edge.posted_callbacks, cost=50),
    "edge-addresses": Target(edge.addresses, cost=50),
    "edge-qr": Target(edge.qr_pictures, cost=200),
    # operators
    "settings": Target(operator.settings, cost=50),
    "provisioning": Target(operator.provisioning, cost=50),
    "credentials": Target(operator.credentials, cost=200),
    "sealed": Target(operator.sealed),
    # the sandbox
    "sandbox-alipay": Target(sandbox.alipay, cost=50),
    "sandbox-wechat": Target(sandbox.wechat, cost=50),
    "sandbox-control": Target(sandbox.control, cost=50),
}
