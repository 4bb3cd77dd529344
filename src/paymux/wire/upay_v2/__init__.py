"""The Upay v2 dialect (收钱吧支付网关 2.0): a lenient reader and a strict writer. Source: upay-v2.md."""
