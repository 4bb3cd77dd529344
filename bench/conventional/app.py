"""The gateway most of us would write first: routes, dependencies, a session per request, two commits per pay.

It keeps the same promises on the happy path: the wish is durable before the wallet is called, no transaction
is open meanwhile, signatures are verified both ways, the transcript is kept. It has none of the rest.
BENCH_DATABASE and BENCH_WALLET say where things are.
"""

import hashlib
import hmac
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from bench.conventional.models import Base, Due, Order, Terminal, Transaction, Transcript, open_engine
from bench.conventional.schemas import BizResponse, OrderData, Payment, PayRequest, QueryRequest, Reply
from bench.conventional.wallet import Paid, WeChat
from bench.shop import API_KEY, APP_ID, MCH_ID, MERCHANT_SN, STORE_SN, TERMINAL_KEY, TERMINAL_SN

_RECOVER_AFTER_MS = 40_000


class CallRefused(Exception):
    """The call itself is wrong: nothing was touched."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database and the wallet; import the one terminal."""
    engine = open_engine(os.environ["BENCH_DATABASE"])
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    async with app.state.sessions.begin() as session:
        session.add(Terminal(sn=TERMINAL_SN, key=TERMINAL_KEY, merchant_sn=MERCHANT_SN, store_sn=STORE_SN))
    app.state.sns = count(time.time_ns() // 1_000_000 * 1_000 + 7_000_000_000_000_000)
    async with httpx.AsyncClient(base_url=os.environ["BENCH_WALLET"], timeout=12) as client:
        app.state.wallet = WeChat(client, app_id=APP_ID, mch_id=MCH_ID, api_key=API_KEY)
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.exception_handler(CallRefused)
async def refused(_request: Request, error: CallRefused) -> JSONResponse:
    """Answer a wrong call; HTTP 200 like every protocol answer."""
    reply = Reply(result_code="400", error_code=error.code, error_message=error.text)
    return JSONResponse(reply.model_dump(exclude_none=True))


# -- dependencies


async def open_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield a session of this request's own."""
    async with request.app.state.sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]


async def signer(
    request: Request, session: Session, authorization: Annotated[str, Header()] = ""
) -> Terminal:
    """Return the terminal that signed the raw body; raises `CallRefused`."""
    sn, _, sign = authorization.partition(" ")
    terminal = await session.scalar(select(Terminal).where(Terminal.sn == sn))
    if terminal is None:
        raise CallRefused("TERMINAL_NOT_EXISTS", "不存在这个终端")
    signed = await request.body() + terminal.key.encode()
    expected = hashlib.md5(signed, usedforsecurity=False).hexdigest()
    if not hmac.compare_digest(expected.encode(), sign.strip().lower().encode()):
        raise CallRefused("ILLEGAL_SIGN", "签名错误")
    return terminal


Signer = Annotated[Terminal, Depends(signer)]


async def pay_request(request: Request, terminal: Signer) -> PayRequest:
    """Return the validated body of a pay; raises `CallRefused`."""
    try:
        wish = PayRequest.model_validate_json(await request.body())
    except ValidationError as error:
        raise CallRefused("INVALID_PARAMS", str(error)) from error
    if wish.terminal_sn != terminal.sn:
        raise CallRefused("INVALID_TERMINAL", "终端错误")
    return wish


async def query_request(request: Request, terminal: Signer) -> QueryRequest:
    """Return the validated body of a query; raises `CallRefused`."""
    try:
        wish = QueryRequest.model_validate_json(await request.body())
    except ValidationError as error:
        raise CallRefused("INVALID_PARAMS", str(error)) from error
    if wish.terminal_sn != terminal.sn:
        raise CallRefused("INVALID_TERMINAL", "终端错误")
    return wish


# -- routes


@app.post("/upay/v2/pay")
async def pay(
    request: Request,
    session: Session,
    terminal: Signer,
    wish: Annotated[PayRequest, Depends(pay_request)],
) -> Reply:
    """Charge a barcode: intent, commit, wallet, outcome, commit."""
    order = _draft(wish, terminal, sn=str(next(request.app.state.sns)))
    movement = Transaction(
        tsn=order.sn, order=order, kind="pay", status="CREATED", amount=order.total, ctime_ms=order.ctime_ms
    )
    due = Due(order=order, run_at_ms=order.ctime_ms + _RECOVER_AFTER_MS)
    session.add_all([order, movement, due])
    try:
        await session.commit()
    except IntegrityError:
        text = f"client_sn {wish.client_sn} 在系统中已经存在"
        biz = BizResponse(result_code="FAIL", error_code="CLIENT_SN_CONFLICT", error_message=text)
        return Reply(biz_response=biz)
    paid = await request.app.state.wallet.micropay(
        out_trade_no=order.sn,
        total_fen=order.total,
        auth_code=wish.dynamic_id,
        subject=order.subject,
        device_info=order.terminal_sn,
    )
    _settle(order, movement, paid)
    session.add(Transcript(order=order, at_ms=_now_ms(), request=paid.request, response=paid.response))
    await session.delete(due)
    await session.commit()
    return Reply(biz_response=BizResponse(result_code="PAY_SUCCESS", data=_data(order)))


@app.post("/upay/v2/query")
async def query(
    session: Session, terminal: Signer, wish: Annotated[QueryRequest, Depends(query_request)]
) -> Reply:
    """Say what we know of an order."""
    mine = select(Order).where(Order.merchant_sn == terminal.merchant_sn)
    which = Order.sn == wish.sn if wish.sn else Order.client_sn == wish.client_sn
    order = await session.scalar(mine.where(which))
    if order is None:
        biz = BizResponse(result_code="FAIL", error_code="UPAY_ORDER_NOT_EXISTS", error_message="订单不存在")
        return Reply(biz_response=biz)
    return Reply(biz_response=BizResponse(result_code="SUCCESS", data=_data(order)))


# -- records


def _draft(wish: PayRequest, terminal: Terminal, *, sn: str) -> Order:
    return Order(
        sn=sn,
        merchant_sn=terminal.merchant_sn,
        client_sn=wish.client_sn,
        store_sn=terminal.store_sn,
        terminal_sn=terminal.sn,
        payway=wish.payway or "3",
        sub_payway="1",
        total=int(wish.total_amount),
        refunded=0,
        status="CREATED",
        subject=wish.subject,
        operator=wish.operator,
        ctime_ms=_now_ms(),
    )


def _settle(order: Order, movement: Transaction, paid: Paid) -> None:
    order.status, movement.status = "PAID", "SUCCESS"
    order.trade_no = paid.trade_no
    order.payer_uid = paid.payer_uid
    order.bank_type = paid.bank_type
    order.channel_finish_ms = paid.paid_at_ms
    order.finish_ms = movement.finish_ms = _now_ms()


def _data(order: Order) -> OrderData:
    total = str(order.total)
    return OrderData(
        terminal_sn=order.terminal_sn,
        sn=order.sn,
        client_sn=order.client_sn,
        client_tsn=order.client_sn,
        trade_no=order.trade_no,
        ctime=str(order.ctime_ms),
        status="SUCCESS" if order.status == "PAID" else "IN_PROG",
        order_status=order.status,
        payway=order.payway,
        payway_name="微信",
        sub_payway=order.sub_payway,
        payer_uid=order.payer_uid,
        total_amount=total,
        net_amount=str(order.total - order.refunded),
        subject=order.subject,
        operator=order.operator,
        finish_time=str(order.finish_ms),
        channel_finish_time=str(order.channel_finish_ms),
        store_id=order.store_sn,
        payment_list=[Payment(type="BANKCARD_DEBIT", amount_total=total)],
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
