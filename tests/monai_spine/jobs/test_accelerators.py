import botocore.session
import pytest

from monai_spine.errors import InvalidOptionError
from monai_spine.jobs.accelerators import ACCELERATORS, machine_with, parse_accelerator


def test_a_type_and_a_number_are_read() -> None:
    assert parse_accelerator("T4") == ("T4", 1)
    assert parse_accelerator("h100:8") == ("H100", 8)
    assert parse_accelerator("a100-80gb:2") == ("A100-80GB", 2)


@pytest.mark.parametrize(("text", "fault"), [("H10", "H100"), ("H100:0", "TYPE:NUMBER"), ("H100:x", "TYPE:NUMBER")])
def test_another_text_is_refused_with_what_was_expected(text: str, fault: str) -> None:
    with pytest.raises(InvalidOptionError, match=fault):
        parse_accelerator(text)


def test_a_number_that_no_machine_has_is_refused_with_those_that_there_are() -> None:
    machines = ACCELERATORS["H200"].vertex_machines
    assert machine_with(machines, "H200", 8, "Vertex AI") == "a3-ultragpu-8g"
    with pytest.raises(InvalidOptionError, match=r"2 × H200.*machines with 8"):
        machine_with(machines, "H200", 2, "Vertex AI")
    with pytest.raises(InvalidOptionError, match=r"no machine.*at all"):
        machine_with({}, "B200", 8, "AzureML")


@pytest.mark.slow
def test_vertex_ai_knows_every_accelerator() -> None:
    from google.cloud.aiplatform_v1.types import AcceleratorType

    known = {one.name for one in AcceleratorType}
    assert {one.vertex for one in ACCELERATORS.values()} <= known


def test_sagemaker_knows_every_machine() -> None:
    model = botocore.session.Session().get_service_model("sagemaker")
    request = model.operation_model("CreateTrainingJob").input_shape
    known = set(request.members["ResourceConfig"].members["InstanceType"].enum)
    assert {machine for one in ACCELERATORS.values() for machine in one.sagemaker_machines.values()} <= known
