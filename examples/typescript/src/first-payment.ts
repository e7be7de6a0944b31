// A first integration, over each protocol that Tongbao speaks: pay, pay again, watch, be refused.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "tongbao-contracts/google/rpc/error_details_pb";
import { Tool } from "tongbao-contracts/tongbao/common/v1/kinds_pb";
import { Trade_State } from "tongbao-contracts/tongbao/trade/v1/trade_pb";
import { TradeService } from "tongbao-contracts/tongbao/trade/v1/trade_service_pb";
import { Signer, signed } from "./token.js";

const ca = readFileSync(setting("SHOP_CA"));
const interceptors = [signed(new Signer(setting("SHOP_APP_ID"), setting("SHOP_KEY")))];
const common = { interceptors, nodeOptions: { ca }, defaultTimeoutMs: 10_000 };
const edge = { ...common, baseUrl: setting("SHOP_EDGE"), httpVersion: "1.1" as const };

const transports: [string, Transport][] = [
  ["grpc", createGrpcTransport({ ...common, baseUrl: setting("SHOP_TRADE") })],
  ["connect", createConnectTransport(edge)],
  ["grpc-web", createGrpcWebTransport(edge)],
];

for (const [protocol, transport] of transports) {
  const trades = createClient(TradeService, transport);
  const request = {
    requestId: randomUUID(),
    tool: Tool.QR_PAYER,
    target: {
      case: "newTrade" as const,
      value: {
        orderNo: `ts-${randomUUID()}`,
        productCode: setting("SHOP_PRODUCT"),
        merchantId: setting("SHOP_MERCHANT"),
        subject: "tea",
        amount: { currencyCode: "CNY", minorUnits: 1234n },
      },
    },
  };

  const { trade, payment } = await trades.payTrade(request);
  if (!trade || !payment) throw new Error("an answer has both");
  report(protocol, "pay", Trade_State[trade.state], payment.action?.qrCode ? "qr" : "no qr");

  // Nobody knows whether an answer got lost: send the same again, nothing happens twice.
  const again = await trades.payTrade(request);
  report(protocol, "again", again.trade?.tradeNo === trade.tradeNo ? "same trade" : "ANOTHER");

  let last = trade; // The stream ends when the trade is paid or closed.
  for await (const { trade: seen } of trades.watchTrade(
    { key: { case: "tradeNo", value: trade.tradeNo } },
    { timeoutMs: 60_000 },
  )) {
    if (seen) last = seen;
  }
  report(protocol, "watch", Trade_State[last.state]);

  try {
    await trades.payTrade({ ...request, tool: Tool.BALANCE });
  } catch (error) {
    const refusal = ConnectError.from(error);
    const [info] = refusal.findDetails(ErrorInfoSchema);
    report(protocol, "refused", Code[refusal.code], info?.reason ?? "no reason");
  }
}

function report(...words: string[]): void {
  console.log(words.join(" "));
}

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}; README.md says to what`);
  return value;
}
