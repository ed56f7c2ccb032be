import matplotlib
import pytest
from matplotlib import pyplot as plt

from deadgcn.plots.style import set_style

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def house_style():
    with plt.rc_context():
        set_style()
        yield
        plt.close("all")
