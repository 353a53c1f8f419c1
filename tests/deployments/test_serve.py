"""Both ways to deploy say the same."""

import importlib.util

import yaml

from tests.deployed import ROOT


def served(store):
    path = ROOT / "deployments" / "serve.py"
    spec = importlib.util.spec_from_file_location("serve", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.deployments(store)


def test_serving_deploys_what_the_work_pool_gets(prefect_server):
    declared = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]
    for one, other in zip(declared, served("mltraq"), strict=True):
        assert one["entrypoint"] == other.entrypoint
        assert one["parameters"] == other.parameters
        (schedule,) = other.schedules
        assert one["schedules"][0]["cron"] == schedule.schedule.cron
        for declared_trigger, trigger in zip(one.get("triggers", []), other.triggers, strict=True):
            assert set(declared_trigger["expect"]) == trigger.expect
            assert declared_trigger["match"] == trigger.match.model_dump()
            assert declared_trigger.get("match_related", {}) == trigger.match_related.model_dump()
            assert declared_trigger["parameters"] == trigger.parameters
