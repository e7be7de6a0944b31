"""The payment service 支付核心: carries out payments and refunds, whatever breaks on the way."""
