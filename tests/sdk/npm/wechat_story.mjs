// What a merchant does with wechatpay-axios-plugin (API v2): pay, query, refund over mutual TLS.
// Arguments: the folder whose node_modules holds the SDK. Accounts come in on standard input as JSON.
import { createRequire } from "node:module";
import { generateKeyPairSync } from "node:crypto";
import { Agent } from "node:https";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.argv[2]}/`);
const { Wechatpay } = require("wechatpay-axios-plugin");
const accounts = JSON.parse(readFileSync(0, "utf8"));

/** Make the SDK's client; it wants API v3 keys too, though only v2 is used. */
function client(row, baseURL) {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const merchant = { cert: row.client_cert, key: row.client_key };
  const httpsAgent = new Agent({ ...merchant, ca: row.ca_cert });
  return new Wechatpay({
    mchid: row.mch_id, serial: "0", privateKey, certs: { any: publicKey }, secret: row.api_key, merchant, baseURL, httpsAgent,
  });
}

/** Do what a shop does in a day; the SDK verifies every reply's signature. */
async function story(row) {
  const [plain, secure] = [row.base_url, row.secure_base_url].map((url) => client(row, `${url}/`));
  const base = { appid: row.app_id, mch_id: row.mch_id, nonce_str: "n0nce" };
  const kind = row.sign_type === "MD5" ? {} : { sign_type: row.sign_type };
  const number = `axios-${row.name}`;
  const pay = {
    ...base, ...kind, body: "咖啡 & tea", out_trade_no: number, total_fee: 8888, spbill_create_ip: "127.0.0.1",
    auth_code: "134567890123456700",
  };
  const { data: paid } = await plain.v2.pay.micropay.post(pay);
  const terms = { out_trade_no: number, out_refund_no: "r1", total_fee: 8888, refund_fee: 888 };
  const { data: refunded } = await secure.v2.secapi.pay.refund.post({ ...base, ...kind, ...terms });
  const { data: queried } = await plain.v2.pay.orderquery.post({ ...base, ...kind, out_trade_no: number });
  return {
    paid: [paid.result_code, paid.total_fee],
    refunded: refunded.refund_fee,
    queried: queried.trade_state,
    forged: await forged(() => plain.v2.pay.micropay.post({
      ...pay, out_trade_no: `${number}-forged`, auth_code: "134567890123456707",
    })),
  };
}

/** Tell whether the SDK catches a reply with a wrong signature (script 07). */
async function forged(pay) {
  try { await pay(); } catch { return "caught"; }
  return "believed";
}

const facts = {};
for (const name of ["wechat", "wechat-hmac"]) {
  facts[name] = await story(accounts.find((row) => row.name === name));
}
process.stdout.write(JSON.stringify(facts));
