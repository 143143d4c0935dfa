// SPDX-License-Identifier: Apache-2.0
//
// Kernel types of a forward pass: conversion, dense rows, norms, rotation, attention, elementwise
// functions, losses.
#ifndef ESPALIER_TRANSFORMER_OPERATIONS_H
#define ESPALIER_TRANSFORMER_OPERATIONS_H

#include <stdint.h>

namespace esp {}  // namespace esp

#endif  // ESPALIER_TRANSFORMER_OPERATIONS_H
