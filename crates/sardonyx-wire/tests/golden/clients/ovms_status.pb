

model