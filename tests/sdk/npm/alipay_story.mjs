// What a merchant does with Alipay's official Node SDK: pay, query, refund, verify a callback.
// Arguments: the folder whose node_modules holds the SDK. Accounts come in on standard input as JSON.
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.argv[2]}/`);
const { AlipaySdk } = require("alipay-sdk");
const accounts = JSON.parse(readFileSync(0, "utf8"));

/** Make the SDK's client for an account in key or certificate mode. */
function client(row) {
  const common = { appId: row.app_id, privateKey: row.private_key, keyType: "PKCS8", gateway: row.base_url };
  if (!row.app_cert) return new AlipaySdk({ ...common, alipayPublicKey: row.alipay_public_key });
  return new AlipaySdk({
    ...common,
    appCertContent: row.app_cert,
    alipayPublicCertContent: row.alipay_cert,
    alipayRootCertContent: row.alipay_root_cert,
  });
}

/** Listen for one callback. */
function listen() {
  let tell;
  const heard = new Promise((resolve) => { tell = resolve; });
  const server = createServer((request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => { response.end("success"); tell(Buffer.concat(pieces).toString()); });
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      resolve({ url: `http://127.0.0.1:${server.address().port}/notify`, heard, close: () => server.close() });
    });
  });
}

/** Do what a shop does in a day. */
async function story(row) {
  const sdk = client(row);
  const call = (method, bizContent, more = {}) =>
    sdk.exec(`alipay.trade.${method}`, { bizContent, ...more }, { validateSign: true });
  const number = `node-${row.name}`;
  const listener = await listen();
  const pay = {
    out_trade_no: number, scene: "bar_code", auth_code: "281234567890123400", subject: "咖啡/coffee", total_amount: "88.88",
  };
  const paid = await call("pay", pay, { notify_url: listener.url });
  const callback = Object.fromEntries(new URLSearchParams(await listener.heard));
  listener.close();
  const queried = await call("query", { out_trade_no: number });
  const refunded = await call("refund", { out_trade_no: number, refund_amount: "8.88", out_request_no: "r1" });
  const refund = await call("fastpay.refund.query", { out_trade_no: number, out_request_no: "r1" });
  const ordered = await call("precreate", { out_trade_no: `${number}-qr`, subject: "tea", total_amount: "1.10" });
  const unknown = await call("query", { out_trade_no: "never heard of" });
  return {
    paid: [paid.code, paid.totalAmount],
    callback: [callback.trade_status, sdk.checkNotifySignV2(callback)],
    queried: queried.tradeStatus,
    refunded: [refunded.fundChange, refunded.refundFee],
    refund: refund.refundStatus,
    ordered: ordered.qrCode.slice(0, 25),
    unknown: unknown.subCode,
    forged: await forged(() => call("pay", { ...pay, out_trade_no: `${number}-forged`, auth_code: "281234567890123407" })),
  };
}

/** Tell whether the SDK catches a reply with a wrong signature (script 07). */
async function forged(pay) {
  try { await pay(); } catch { return "caught"; }
  return "believed";
}

const facts = {};
for (const name of ["alipay", "alipay-cert"]) {
  facts[name] = await story(accounts.find((row) => row.name === name));
}
process.stdout.write(JSON.stringify(facts));
