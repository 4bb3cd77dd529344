"""What WeChat v2's codes prove. Sources: channels/03-wechat.md (official table), 00-principles.md.

Ours are the verdicts and the words for the client. A code on no table of its operation proves nothing:
WeChat itself says that result_code FAIL alone must not be taken for a failed payment.
"""

from paymux.channels.verdicts import read_table

_REFUSED_AT_THE_DOOR = """
MISCONFIGURED NOAUTH PARAM_ERROR XML_FORMAT_ERROR REQUIRE_POST_METHOD SIGNERROR LACK_PARAMS NOT_UTF8
MISCONFIGURED APPID_NOT_EXIST MCHID_NOT_EXIST APPID_MCHID_NOT_MATCH
"""

OPENING = read_table(
    _REFUSED_AT_THE_DOOR
    + """
    MISCONFIGURED     INVALID_REQUEST
    UNKNOWN           SYSTEMERROR BANKERROR
    IN_PROGRESS       USERPAYING
    EXISTS            ORDERPAID OUT_TRADE_NO_USED
    EXPIRED_BARCODE   AUTHCODEEXPIRE
    INVALID_BARCODE   AUTH_CODE_ERROR AUTH_CODE_INVALID
    INSUFFICIENT_FUND NOTENOUGH
    TRADE_FAILED      NOTSUPORTCARD BUYER_MISMATCH ORDERCLOSED ORDERREVERSED TRADE_ERROR
    """
)
"""micropay and unifiedorder."""

QUERY = read_table(
    _REFUSED_AT_THE_DOOR
    + """
    NOT_FOUND ORDERNOTEXIST
    UNKNOWN   SYSTEMERROR
    """
)

REVERSE = read_table(
    _REFUSED_AT_THE_DOOR
    + """
    UNKNOWN        SYSTEMERROR USERPAYING
    REFUND_INSTEAD TRADE_ERROR REVERSE_EXPIRE
    """
)

CLOSE = read_table(
    _REFUSED_AT_THE_DOOR
    + """
    UNKNOWN        SYSTEMERROR
    NOTHING_TAKEN  ORDERCLOSED ORDERNOTEXIST
    REFUND_INSTEAD ORDERPAID
    """
)
"""An order WeChat does not know has shown nobody a code to pay: closing it is done."""

REFUND = read_table(
    _REFUSED_AT_THE_DOOR
    + """
    UNKNOWN                   SYSTEMERROR BIZERR_NEED_RETRY FREQUENCY_LIMITED
    SELLER_BALANCE_NOT_ENOUGH NOTENOUGH
    TRADE_FAILED              TRADE_OVERDUE USER_ACCOUNT_ABNORMAL INVALID_TRANSACTIONID ERROR
    """
)

REFUND_QUERY = read_table(
    _REFUSED_AT_THE_DOOR
    + """
    NOT_FOUND REFUNDNOTEXIST
    UNKNOWN   SYSTEMERROR
    """
)

RETURN_TEXTS = (
    ("签名", "SIGNERROR"),
    ("sign", "SIGNERROR"),
    ("appid", "APPID_NOT_EXIST"),
    ("mch_id", "MCHID_NOT_EXIST"),
)
"""A return_code FAIL has only a return_msg and no signature. What its text hints at becomes provider_code."""


def code_of_text(return_msg: str) -> str:
    """Return the code an unsigned failure's text hints at; "FAIL" when it hints at nothing."""
    text = return_msg.lower()
    return next((code for hint, code in RETURN_TEXTS if hint in text), "FAIL")


def payment_type(bank_type: str) -> str:
    """Return the payment_list type (upay-v2.md §9.3) of a bank_type such as CFT or ICBC_CREDIT."""
    if bank_type.endswith("_CREDIT"):
        return "BANKCARD_CREDIT"
    return "BANKCARD_DEBIT" if bank_type.endswith("_DEBIT") else "WALLET_WEIXIN"
