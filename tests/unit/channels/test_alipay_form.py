"""Forms are what urllib makes of them, to the byte."""

from urllib.parse import urlencode

from hypothesis import example, given
from hypothesis import strategies as st

from paymux.channels.alipay.form import write_form

VALUES = st.text(st.characters(exclude_categories=["Cs"])) | st.text(
    alphabet="aZ9-_.~ +\"':,;/={}[]\\%&#?咖\n\0"
)


@given(values=st.lists(VALUES, max_size=3))
@example(values=['{"subject":"两杯咖啡 & <more>","price":"1.00"}', "2023-11-15 06:13:20", "aB+/9=="])
def test_any_text_is_written_as_urllib_does(values: list[str]) -> None:
    """The quick way must not be another way."""
    fields = {f"name_{number}": value for number, value in enumerate(values)}
    assert write_form(fields) == urlencode(fields)
