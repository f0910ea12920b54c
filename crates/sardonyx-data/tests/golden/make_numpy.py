"""Writes the NPY, NPZ and scikit-learn golden files of the tests beside this script.

Needs numpy and scikit-learn. Run: python make_numpy.py
"""

import csv
import pathlib

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

HERE = pathlib.Path(__file__).parent
ARRAYS = HERE / "numpy"
TABLES = HERE / "sklearn"
SHAPE = (3, 4, 2)


def pattern(dtype, shape=SHAPE):
    """Element i is i * 7 % 100, in eighths for floats, its parity for truth values."""
    values = np.arange(int(np.prod(shape))) * 7 % 100
    kind = np.dtype(dtype).kind
    values = values / 8 if kind == "f" else values % 2 if kind == "b" else values
    return values.astype(dtype).reshape(shape)


def arrays():
    ARRAYS.mkdir(exist_ok=True)
    for name in ["u1", "i4", "i8", "f4", "f8"]:
        for order_name, order in [("le", "<"), ("be", ">")]:
            array = pattern(order + name)
            np.save(ARRAYS / f"{name}_{order_name}_c.npy", array)
            np.save(ARRAYS / f"{name}_{order_name}_f.npy", np.asfortranarray(array))
    for name in ["b1", "i1", "i2", "u2", "u4", "u8", "f2"]:
        np.save(ARRAYS / f"{name}_le_c.npy", pattern("<" + name))
    np.save(ARRAYS / "scalar.npy", np.float32(2.5))
    np.save(ARRAYS / "vector.npy", pattern("<f4", (5,)))
    np.save(ARRAYS / "empty.npy", np.zeros((0, 5), np.float32))
    for version in [(2, 0), (3, 0)]:
        with open(ARRAYS / f"version_{version[0]}.npy", "wb") as file:
            np.lib.format.write_array(file, pattern("<f4"), version=version)
    np.save(ARRAYS / "refused_object.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.save(ARRAYS / "refused_text.npy", np.array(["a", "bc"]))
    np.save(ARRAYS / "refused_complex.npy", np.array([1j]))
    np.save(ARRAYS / "refused_record.npy", np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]))


def archives():
    x_train, x_test = pattern("u1", (6, 4, 5)), pattern("u1", (3, 4, 5))
    y_train, y_test = np.array([0, 1, 2, 0, 1, 2]), np.array([2, 1, 0])
    keras = dict(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    np.savez(ARRAYS / "keras.npz", **keras)
    np.savez_compressed(ARRAYS / "keras_compressed.npz", **keras)
    np.savez_compressed(
        ARRAYS / "medmnist.npz",
        train_images=pattern("u1", (6, 4, 5, 3)),
        train_labels=y_train.reshape(-1, 1).astype("u1"),
        val_images=pattern("u1", (3, 4, 5, 3)),
        val_labels=y_test.reshape(-1, 1).astype("u1"),
        test_images=pattern("u1", (3, 4, 5, 3)),
        test_labels=y_test.reshape(-1, 1).astype("u1"),
    )
    np.savez(ARRAYS / "nameless.npz", pattern("f8", (4, 3)), np.array([0.5, 1.5, 2.5, 3.5]))
    np.savez(ARRAYS / "unknown_names.npz", features=x_train, classes=y_train)


def scaling():
    TABLES.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 5)) * [1, 1e-3, 50, 1, 1e4] + [0, 1000, -7, 0, 1e6]
    x = x.astype("f4")
    x[:, 3] = 0.1
    train = np.arange(0, 40, 3)
    standard = StandardScaler().fit(x[train].astype("f8"))
    minmax = MinMaxScaler().fit(x[train].astype("f8"))
    np.save(TABLES / "scaling_x.npy", x)
    np.save(TABLES / "scaling_mean.npy", standard.mean_)
    np.save(TABLES / "scaling_std.npy", standard.scale_)
    np.save(TABLES / "scaling_min.npy", minmax.data_min_)
    np.save(TABLES / "scaling_range.npy", np.where(minmax.data_range_ == 0, 1, minmax.data_range_))
    images = rng.integers(0, 256, size=(9, 3, 4, 5)).astype("u1")
    images[:, 1] = 77
    np.save(TABLES / "images_x.npy", images)
    np.save(TABLES / "images_mean.npy", images.astype("f8").mean(axis=(0, 2, 3)))
    std = images.astype("f8").std(axis=(0, 2, 3))
    np.save(TABLES / "images_std.npy", np.where(std == 0, 1, std))


def tables():
    rng = np.random.default_rng(2)
    colors, sizes = ["red", "green", "blue"], ["S", "M", "L", "XL"]
    for name, count, extra in [("train", 30, []), ("test", 12, ["violet"])]:
        with open(TABLES / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["weight", "color", "length", "size", "kind"])
            for _ in range(count):
                row = [
                    f"{rng.normal(3, 1):.3f}",
                    str(rng.choice(colors + extra)),
                    str(rng.integers(10, 99)),
                    str(rng.choice(sizes)),
                    str(rng.choice(["owl", "cat", "dog"])),
                ]
                for column in range(4):
                    if rng.random() < 0.1:
                        row[column] = rng.choice(["", "NA", "?"])
                writer.writerow(row)
    train, test = read_table("train"), read_table("test")
    classes = sorted(set(train["kind"]))
    for name, table in [("train", train), ("test", test)]:
        columns = []
        for column in ["weight", "color", "length", "size"]:
            if column in ["weight", "length"]:
                imputer = SimpleImputer(strategy="mean").fit(numbers(train[column]))
                columns.append(imputer.transform(numbers(table[column])))
            else:
                imputer = SimpleImputer(strategy="most_frequent", missing_values=None)
                fitted = imputer.fit_transform(texts(train[column]))
                known = sorted({value for value in train[column] if value is not None})
                encoder = OneHotEncoder(
                    categories=[known], handle_unknown="ignore", sparse_output=False
                ).fit(fitted)
                columns.append(encoder.transform(imputer.transform(texts(table[column]))))
        np.save(TABLES / f"{name}_x.npy", np.hstack(columns))
        np.save(TABLES / f"{name}_y.npy", np.array([classes.index(k) for k in table["kind"]]))


def read_table(name):
    with open(TABLES / f"{name}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    clean = lambda cell: None if cell in ["", "NA", "?"] else cell
    return {column: [clean(row[column]) for row in rows] for column in rows[0]}


def numbers(cells):
    return np.array([[np.nan if cell is None else float(cell)] for cell in cells])


def texts(cells):
    return np.array([[cell] for cell in cells], dtype=object)


if __name__ == "__main__":
    arrays()
    archives()
    scaling()
    tables()
