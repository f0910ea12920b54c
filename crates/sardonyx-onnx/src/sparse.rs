//! Sparse tensor messages, checked and made dense.

use sardonyx_tensor::{Data, Tensor, element_count, strides};

use crate::element_type::dtype_from_onnx;
use crate::error::{OnnxError, Result, quoted};
use crate::layout;
use crate::proto::{SparseTensorProto, TensorProto};
use crate::tensor::tensor_from_proto;

/// Size that a string takes in a dense tensor, its text aside.
const STRING_BYTES: u64 = size_of::<String>() as u64;

/// The dense tensor that a sparse message stands for: zero (or an empty string) where it has no
/// value. Indices may be row-major or one per dimension.
///
/// # Errors
/// When the parts disagree, an index is out of range or not above the one before, the element type
/// is not supported, or the dense tensor would be out of proportion to what is stored
/// ([`crate::limits::DENSE_BYTES_PER_BYTE`]).
pub fn sparse_from_proto(proto: &SparseTensorProto) -> Result<Tensor> {
    densify(proto).map_err(|error| {
        let name = proto.values.as_ref().map_or("", TensorProto::name);
        error.at(format!("sparse tensor {}", quoted(name)))
    })
}

fn densify(proto: &SparseTensorProto) -> Result<Tensor> {
    let (values, positions, shape) = parts(proto)?;
    let dtype = dtype_from_onnx(values.data_type())
        .ok_or_else(|| layout::unsupported(values.data_type()))?;
    let count = element_count(&shape)?;
    let element_bytes = dtype
        .size_bytes()
        .map_or(STRING_BYTES, |bytes| bytes as u64);
    let dense_bytes = (count as u64).saturating_mul(element_bytes);
    let stored_bytes = (positions.len() as u64).saturating_mul(element_bytes + 8);
    if !layout::may_be_dense(dense_bytes, stored_bytes) {
        return Err(OnnxError::Sparse(
            "the dense tensor would be out of proportion to what is stored",
        ));
    }
    let values = tensor_from_proto(values)?.into_data();
    let dense = scatter(Data::zeros(dtype, count), &positions, values);
    Ok(Tensor::from_data(shape, dense)?)
}

/// Checks a sparse tensor whose data is in the message.
///
/// # Errors
/// As [`sparse_from_proto`], the support of the element type and the size of the dense tensor
/// aside.
pub(crate) fn check(proto: &SparseTensorProto) -> Result<()> {
    parts(proto).map(|_| ())
}

/// The values, the row-major index of each, and the shape.
fn parts(proto: &SparseTensorProto) -> Result<(&TensorProto, Vec<usize>, Vec<usize>)> {
    let values = proto
        .values
        .as_ref()
        .ok_or(OnnxError::Sparse("there are no values"))?;
    let (values_shape, _) = layout::check(values)?;
    let &[count] = values_shape.as_slice() else {
        return Err(OnnxError::Sparse("the values are not a vector"));
    };
    let shape = layout::shape(&proto.dims)?;
    let positions = match &proto.indices {
        Some(indices) => positions(&tensor_from_proto(indices)?, count, &shape)?,
        None if count == 0 => Vec::new(),
        None => return Err(OnnxError::Sparse("there are no indices")),
    };
    Ok((values, positions, shape))
}

/// Row-major indices from either form, which must ascend (so that none comes twice).
fn positions(indices: &Tensor, count: usize, shape: &[usize]) -> Result<Vec<usize>> {
    let numbers = indices.values::<i64>()?;
    let positions: Vec<Option<usize>> = match *indices.shape() {
        [n] if n == count => {
            let total = element_count(shape)?;
            let linear = |&index| usize::try_from(index).ok().filter(|&index| index < total);
            numbers.iter().map(linear).collect()
        }
        [n, rank] if n == count && rank == shape.len() && rank > 0 => {
            let strides = strides(shape);
            let coordinates = numbers.chunks_exact(rank);
            coordinates
                .map(|index| position(index, shape, &strides))
                .collect()
        }
        _ => {
            return Err(OnnxError::Sparse(
                "the shape of the indices fits neither the values nor the dimensions",
            ));
        }
    };
    let mut next = 0;
    positions
        .into_iter()
        .enumerate()
        .map(|(place, found)| {
            let found = found.filter(|&found| found >= next);
            next = found.map_or(next, |found| found + 1);
            found.ok_or(OnnxError::SparseIndex { position: place })
        })
        .collect()
}

fn position(index: &[i64], shape: &[usize], strides: &[usize]) -> Option<usize> {
    let mut position = 0;
    for ((&index, &dim), &stride) in index.iter().zip(shape).zip(strides) {
        let index = usize::try_from(index).ok().filter(|&index| index < dim)?;
        position += index * stride;
    }
    Some(position)
}

/// Puts each value in its place. Both sides have the type of the values.
fn scatter(dense: Data, positions: &[usize], values: Data) -> Data {
    macro_rules! put {
        ($($variant:ident),+) => {
            match (dense, values) {
                $((Data::$variant(mut dense), Data::$variant(values)) => {
                    for (&position, value) in positions.iter().zip(values) {
                        dense[position] = value;
                    }
                    Data::$variant(dense)
                })+
                (dense, _) => dense,
            }
        };
    }
    put!(
        F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64, Bool, String
    )
}

#[cfg(test)]
mod tests {
    use sardonyx_tensor::DType;

    use super::*;
    use crate::tensor::tensor_to_proto;

    fn sparse(values: Vec<f32>, indices: &Tensor, dims: &[i64]) -> SparseTensorProto {
        SparseTensorProto {
            values: Some(tensor_to_proto("s", &Tensor::vector(values))),
            indices: Some(tensor_to_proto("", indices)),
            dims: dims.to_vec(),
        }
    }

    #[test]
    fn both_forms_of_indices() {
        let linear = sparse(vec![1.0, 2.0], &Tensor::vector(vec![1i64, 5]), &[2, 3]);
        let coordinates = Tensor::new([2, 2], vec![0i64, 1, 1, 2]).unwrap();
        let coordinates = sparse(vec![1.0, 2.0], &coordinates, &[2, 3]);
        let expected = Tensor::new([2, 3], vec![0f32, 1.0, 0.0, 0.0, 0.0, 2.0]).unwrap();
        assert_eq!(sparse_from_proto(&linear).unwrap(), expected);
        assert_eq!(sparse_from_proto(&coordinates).unwrap(), expected);
    }

    #[test]
    fn no_value_is_all_zero() {
        let mut empty = sparse(vec![], &Tensor::vector(Vec::<i64>::new()), &[2, 2]);
        let zeros = Tensor::zeros(DType::F32, [2, 2]).unwrap();
        assert_eq!(sparse_from_proto(&empty).unwrap(), zeros);
        empty.indices = None;
        assert_eq!(sparse_from_proto(&empty).unwrap(), zeros);
    }

    #[test]
    fn bad_indices_are_refused() {
        for indices in [[-1i64, 2], [0, 6], [3, 3], [3, 2], [0, i64::MAX]] {
            let proto = sparse(vec![1.0, 2.0], &Tensor::vector(indices.to_vec()), &[2, 3]);
            let error = sparse_from_proto(&proto).unwrap_err();
            assert!(
                matches!(error.root(), OnnxError::SparseIndex { .. }),
                "{error}"
            );
        }
        for indices in [[0i64, 3, 1, 0], [0, 0, 2, 0], [1, 0, 0, 0], [0, -1, 1, 1]] {
            let indices = Tensor::new([2, 2], indices.to_vec()).unwrap();
            let error = sparse_from_proto(&sparse(vec![1.0, 2.0], &indices, &[2, 3])).unwrap_err();
            assert!(
                matches!(error.root(), OnnxError::SparseIndex { .. }),
                "{error}"
            );
        }
        let three = Tensor::vector(vec![0i64, 1, 2]);
        assert!(sparse_from_proto(&sparse(vec![1.0, 2.0], &three, &[2, 3])).is_err());
    }

    #[test]
    fn a_few_bytes_do_not_become_gigabytes() {
        let proto = sparse(vec![1.0], &Tensor::vector(vec![0i64]), &[1 << 30]);
        let error = sparse_from_proto(&proto).unwrap_err().to_string();
        assert!(error.contains("out of proportion"), "{error}");
        assert!(check(&proto).is_ok());
    }
}
