import pytest

from rsa_ops.data.checks.pii import find, luhn_valid, my_number_valid


@pytest.mark.parametrize(
    "digits",
    # published test numbers of the card networks (Visa, Mastercard, American Express, JCB, Diners, Discover)
    [
        "4111111111111111",
        "5555555555554444",
        "378282246310005",
        "3530111333300000",
        "30569309025904",
        "6011111111111117",
    ],
)
def test_published_test_cards_pass_luhn_and_their_neighbours_fail(digits):
    assert luhn_valid(digits)
    assert not luhn_valid(digits[:-1] + str((int(digits[-1]) + 1) % 10))


def test_my_number_check_digit_follows_the_ordinance():
    # 123456789018 by hand: weights 6 5 4 3 2 7 6 5 4 3 2 on 12345678901 sum to 212; 212 mod 11 = 3; 11 - 3 = 8
    assert my_number_valid("123456789018")
    assert [digit for digit in range(10) if my_number_valid(f"12345678901{digit}")] == [8]
    assert not my_number_valid("12345678901")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email", "write to taro.yamada+x@sub.example.co.jp, please"),
        ("email", "連絡先はtaro@example.jpです"),
        ("phone", "電話は０３－１２３４－５６７８まで"),
        ("phone", "携帯 090-1234-5678"),
        ("phone", "携帯09012345678に"),
        ("phone", "(03) 1234-5678"),
        ("phone", "0120-123-456"),
        ("phone", "+81 90-1234-5678"),
        ("phone", "call +44 20 7946 0958"),
        ("phone", "call (555) 123-4567 now"),
        ("phone", "call 555-234-4567 now"),
        ("card", "paid with 4111-1111-1111-1111."),
        ("card", "paid with 378282246310005"),
        ("card", "カード４１１１ １１１１ １１１１ １１１１"),
        ("my_number", "個人番号は123456789018です"),
        ("my_number", "1234-5678-9018"),
    ],
)
def test_personal_data_is_found(kind, text):
    assert find(text, kind)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email", "git@github.com:owner/name.git and user@localhost"),
        ("email", "@decorator a@b"),
        ("phone", "CVE-2021-29563 from 2021-05-14"),
        ("phone", "version 10.0.19041-1234, port 8080"),
        ("phone", "1-800 items, 12345678901234"),
        ("phone", "part 0123-4567-8901-2345"),
        ("card", "4111 1111 1111 1112"),
        ("card", "0000 0000 0000 0000"),
        ("card", "id 9999999999999995"),
        ("my_number", "123456789012"),
        ("my_number", "1234567890185"),
        ("my_number", "000000000000"),
    ],
)
def test_other_numbers_and_addresses_are_left_alone(kind, text):
    assert find(text, kind) == ()
