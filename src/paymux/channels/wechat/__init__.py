"""WeChat Pay 微信支付, mainland: protocol v2 (payway 3)."""
