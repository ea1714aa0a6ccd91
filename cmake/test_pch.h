// Precompiled for every test program.
#pragma once
#include "pch.h"
// (gtest comes last: it is the largest)
#include <gmock/gmock.h>
#include <gtest/gtest.h>
