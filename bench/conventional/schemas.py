"""What comes in and what goes out, as pydantic models (upay-v2.md §2, §4, §6)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints, model_validator

Text32 = Annotated[str, StringConstraints(min_length=1, max_length=32)]
Amount = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,9}$")]


class PayRequest(BaseModel):
    """Charge a barcode."""

    terminal_sn: Text32
    client_sn: Text32
    total_amount: Amount
    dynamic_id: Text32
    payway: str | None = None
    subject: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    operator: Annotated[str, StringConstraints(max_length=32)] = ""
    description: Annotated[str, StringConstraints(max_length=256)] = ""
    reflect: Annotated[str, StringConstraints(max_length=64)] = ""
    notify_url: Annotated[str, StringConstraints(max_length=128)] = ""


class QueryRequest(BaseModel):
    """Ask for an order by either number."""

    terminal_sn: Text32
    sn: str = ""
    client_sn: str = ""

    @model_validator(mode="after")
    def _names_an_order(self) -> "QueryRequest":
        if not self.sn and not self.client_sn:
            raise ValueError("sn与client_sn不能同时为空")
        return self


class Payment(BaseModel):
    """What paid how much."""

    type: str
    amount_total: str


class OrderData(BaseModel):
    """An order as clients see it; everything is text."""

    terminal_sn: str
    sn: str
    client_sn: str
    client_tsn: str
    trade_no: str
    ctime: str
    status: str
    order_status: str
    payway: str
    payway_name: str
    sub_payway: str
    payer_uid: str
    total_amount: str
    net_amount: str
    subject: str
    operator: str
    finish_time: str
    channel_finish_time: str
    store_id: str
    payment_list: list[Payment]


class BizResponse(BaseModel):
    """The business part."""

    result_code: str
    error_code: str = ""
    error_message: str = ""
    data: OrderData | None = None


class Reply(BaseModel):
    """The envelope of every answer."""

    result_code: Literal["200", "400", "500"] = "200"
    error_code: str = ""
    error_message: str = ""
    biz_response: BizResponse | None = Field(default=None)
