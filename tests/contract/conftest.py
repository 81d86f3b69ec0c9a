"""Makes the asserts of the suites' own modules as readable as those of the test files."""

import pytest

pytest.register_assert_rewrite(
    "tests.contract.publisher_contract",
    "tests.contract.subscriber_contract",
    "tests.support.probe",
    "tests.support.stepping",
)
