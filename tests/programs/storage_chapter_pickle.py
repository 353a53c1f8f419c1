"""A program of MLTRAQ's storage chapter: locals survive in a pickle of the whole experiment."""

import mltraq_prefect as mltraq

session = mltraq.create_session()
experiment = session.add_experiment(name="test")
with experiment.run() as run:
    run.locals.temporary = 123
experiment.persist(store_pickle=True)

experiment = session.load(name="test", pickle=True)
print(experiment.runs.first().locals.temporary)
