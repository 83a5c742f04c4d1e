"""The features that the figures are computed from: whole numbers and one division, so that every language gives the same bits.

Three groups of rows, columns of unequal scales, column 5 constant. tests/learning/common.rs has the same formula.
"""

import numpy as np

COLUMN_SCALES = [0.5, 3.0, 40.0, 700.0]


def noise(row, column):
    return ((row * 7919 + column * 104729 + row * row * (column + 3) * 31) % 1009) / 1009


def feature(row, column):
    if column == 5:
        return 0.1
    group_offset = 6 * (row % 3 * (column + 1) % 3)
    return (noise(row, column) + group_offset) * COLUMN_SCALES[column % 4]


def features(rows, columns):
    values = [[feature(row, column) for column in range(columns)] for row in range(rows)]
    return np.array(values, dtype=np.float32)
