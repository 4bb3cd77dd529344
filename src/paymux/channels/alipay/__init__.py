"""Alipay 支付宝, mainland: the open gateway (payways 1 and 2)."""
